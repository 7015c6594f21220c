"""What is re-trained of a base model: one file an adaptation, one line of the registry each."""
