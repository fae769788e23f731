"""A backend whose objects move from one store to another while the application runs, and what moves them."""
