"""The commands: one module per group. They read options, call one function, print."""
