/* Start-up for a program of Linux without a C library: the kernel has set up stack and variables. Emulators stop it before
   its first instruction and call tm_main themselves; they know its end by __tm_halt. */
int tm_main(void);

__attribute__((used, noinline)) void __tm_halt(void) {
    for (;;) {
    }
}

__attribute__((used)) void __tm_reset(void) {
    tm_main();
    __tm_halt();
}
