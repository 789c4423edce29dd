"""Side-by-side timings of visit_widget: `make bench`."""
