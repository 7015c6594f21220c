"""The CNN closure: network, artefact, training, transfer and offline metrics. Uses torch."""
