"""One file a stage: each wires libraries together and hands over files; none calls another."""
