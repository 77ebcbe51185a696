"""What reading bitstreams back to Verilog needs in every family: the module under construction, and how it is written."""
