"""What was learned: spectra of kernels and activations. Uses torch."""
