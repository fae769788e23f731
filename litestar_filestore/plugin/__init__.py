"""The plugin: wires everything into a Litestar application."""
