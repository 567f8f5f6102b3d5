"""From a plan to Beam: the ParDos that read, decode, encode and deliver, and the graph that connects them."""
