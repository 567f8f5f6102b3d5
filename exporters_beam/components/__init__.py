"""What a component is: its options, its name, its protocols and traits."""
