"""Promotions over GraphQL: marketers draft rules, budgets and releases, look ahead, and publish by two people."""
