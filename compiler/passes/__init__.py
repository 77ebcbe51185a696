"""Passes over the graph: one file each, one registry grouped by phase.

What the logic passes guarantee (the *normal form* that fast engines and RTL meet)
----------------------------------------------------------------------------------

After phase ``canonicalise`` (at every level; every value keeps its name, type and shape):

- no ``lut_conv``; no ``gather``, ``concat``, ``slice``, ``reshape``, ``transpose``, ``broadcast``, ``bitwise``, ``mul``, ``max``,
  ``min``, ``select`` or ``relation`` whose result and operands are all bits. All of these are ``lut`` nodes (a move of bits is a
  ``lut`` of wires: K = 1, table 0b10);
- a ``lookup`` is ``bits`` → ``lut`` → ``unbits`` (or just ``lut`` when it is bit to bit). It stays a ``lookup`` only where its LUTs
  and multiplexers would be unreasonably many (see ``lower_lookup``);
- ``relation`` of an integer with a constant is ``compare``; ``sum`` of bits, and ``matvec`` of bits with small weights, is
  ``group_sum``;
- shape operations between values that are not bits stay as they are. Tables may have up to 6 inputs.

After phase ``optimise`` (level 1; level 0 leaves the canonical form alone), at the top level of the graph:

- every ``lut`` has K <= ``options.lut_size``; tables that need fewer inputs have -1 in the columns behind, and never one in
  front of a connected input. Connected inputs of a table are distinct, in rising order of the signal that they name, and each
  really matters, given that no threshold is met while a lower one on the same integer is not (entries of a table that this
  excludes are arbitrary);
- a ``lut`` reads any earlier bits (``compare``, ``bits``, graph inputs, state, earlier ``lut`` nodes, several of them: its indices
  run over the concatenation of its inputs), never itself, and lists only inputs that it really reads. Nodes stand in
  topological order, so the nodes are one legal schedule; logic depth is per table, not per node (``netlist.levels``);
- no two tables compute the same function of the same signals, none is constant, a wire or dead, with one exception: a value
  that must exist as a whole (a graph output, ``options.keep``, an operand of an operation other than ``lut`` and ``group_sum``) is
  made by one ``lut`` node of its name whose elements may be constants (no input, table 0 or 1), wires (table 0b10) and inverters;
- ``compare`` nodes hold only thresholds that something reads, no two the same and none always true or false;
- ``group_sum`` reads gates of any earlier node directly; constants are in ``bias``, and no index occurs twice within a group
  (``weights`` counts it instead; there is no ``weights`` attribute when all are 1);
- ``source`` of every ``lut`` is the source layer of its tables' roots. A node that lost or moved tables is called ``<name>.luts``;
  a node that kept its name kept its meaning, element by element.
"""
