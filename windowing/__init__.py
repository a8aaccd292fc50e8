"""Which events belong together: panes, clocks, features, user profiles, closing."""
