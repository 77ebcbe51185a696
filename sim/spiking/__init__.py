"""The event-driven fast simulator of spiking graphs."""
