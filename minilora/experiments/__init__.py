"""One file a question: a frozen Config, run(config) -> numbers. No drawing."""
