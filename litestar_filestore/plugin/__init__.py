"""What wires everything into a Litestar application."""
