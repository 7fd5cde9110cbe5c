"""THE UMBRELLA SUBSCRIPTION: members who pay one fee and are better off at every partner."""
