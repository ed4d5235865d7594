"""asyncio over the stack: an event loop whose TCP goes by one interface without the kernel."""
