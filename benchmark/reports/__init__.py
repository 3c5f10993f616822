"""Tables, figures and the page, generated from records."""
