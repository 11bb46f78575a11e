//! Mosaic comms connects the runtimes of a parallel program and passes messages between them.
