"""What importers of trained spiking networks share: linear maps as synapses, unrolled layers, assembly into a Network."""
