"""HTTP: routes and their answers, what guards them, their description."""
