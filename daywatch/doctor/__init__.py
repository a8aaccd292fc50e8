"""What `daywatch doctor` looks at: facts gathered by adapters, and pure rules that say what is wrong and what to do."""
