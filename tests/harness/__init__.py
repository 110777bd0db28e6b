"""What the suites share: a broker to run against, the clients' drivers, Apache's tools, the raw protocol."""
