"""The gated engine's compiler: from a fixed-point graph to a program whose every clock cycle is known."""
