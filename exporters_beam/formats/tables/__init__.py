"""What the formats with columns share: types, schemas, columns."""
