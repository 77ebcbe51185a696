"""The framed UART link: protocol table, UART, framing, command execution, and the shell that puts them together."""
