"""What was learned: spectra of kernels and activations, and scores that rank layers."""
