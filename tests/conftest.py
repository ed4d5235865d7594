"""What all tests need of the process that runs them."""

import signal

# A shell that starts the tests in the background has them ignore the interrupt signal, and so would every
# process that they start and interrupt: SIG_IGN is inherited, a handler is not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
