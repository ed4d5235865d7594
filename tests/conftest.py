"""What all tests need of the process that runs them."""

import signal

# A shell that starts the tests in the background has them ignore the interrupt signal, and every process that they
# start inherits that. Tests send it: a handler here, unlike SIG_IGN, is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
