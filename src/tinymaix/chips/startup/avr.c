/* Start-up for AVR: avr-libc's crt has set up stack and variables when main begins; interrupts are off after reset. */
int tm_main(void);

__attribute__((OS_main)) int main(void) {
    tm_main();
    for (;;) {
    }
}
