from underpass.apps.bench_engine import EngineBench

class HandoverBench(EngineBench):
    """A client, and two workers of which one has the connections. Raises RuntimeError if they do not open."""

    def run(self, seconds: float) -> dict[str, float]:
        """Ask and answer for so long, half of the time by the other worker, which hands over.

        `handover_ns` is what each packet that is handed over costs more, at both workers; `transaction_ns`
        the time for a question and its answer where nothing is.
        """
