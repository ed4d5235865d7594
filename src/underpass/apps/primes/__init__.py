"""The paper's CPU-bound application: for each request, the prime numbers below the number in its path."""
