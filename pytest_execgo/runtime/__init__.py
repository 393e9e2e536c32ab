"""Layer 3: the runtime service, which runs commands for the kernel. Started as a process, never imported by others."""
