"""What tests are made with: an emulator as a process, clients, fakes, real servers and clients."""
