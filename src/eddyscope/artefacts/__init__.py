"""What a case leaves on the disk: one module a kind, with its schema, writer and reader."""
