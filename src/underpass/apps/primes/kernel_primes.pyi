from underpass.apps.kernel_http import KernelHttp

class KernelPrimes(KernelHttp):
    """Serves /X with how many primes lie below X, over Linux's sockets. See `KernelHttp`."""

    def __init__(self, address: str, port: int) -> None: ...
