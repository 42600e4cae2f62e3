/* Runs an AVR under libsimavr for simavr.py: cycle-exact, one command a line on standard input.

     simavr_host DEVICE...     the first that simavr knows; then:
     f SIZE + bytes            program flash from address 0 and reset
     b ENTRY LIMIT             run from reset until the program counter is ENTRY, and keep that place
     w ADDRESS SIZE + bytes    store into the data space
     r ADDRESS SIZE            -> the bytes of the data space
     p BEGIN SIZE + bytes      the part, 16 bits, of each two bytes of the function at BEGIN
     c LIMIT                   call: run from the kept place to its return -> "ok CYCLES INSTRUCTIONS STACK RESULT"
                               and behind it "CYCLES INSTRUCTIONS" of part 0, part 1, ...: an instruction of that
                               function belongs to its part, and any other to the part of the last one before it
     g BEGIN UNTIL CALL MARK LIMIT
                               a whole program: run from reset to BEGIN, and from there to UNTIL, or if CALL until the
                               function at BEGIN returns, or to its end -> "ok END PC CYCLES INSTRUCTIONS STACK
                               TEXT PLACES", the text that its UARTs sent, and for each instruction that ran "PC TIMES
                               CYCLES" as 64 bits each. The stack is measured from MARK on. An address may be NOWHERE.

   Every answer begins with "ok" or is "error REASON PC" on a line of its own; bytes follow the line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_core.h>

#define NOWHERE UINT64_MAX
enum { MOST_TEXT = 1 << 20 };
enum { DATA_END = 0xFEFF, FLASH_SIZE_3_BYTE_PC = 8 << 20, FLASH_SIZE_2_BYTE_PC = 128 << 10 };

static uint32_t entry, return_address;
static uint16_t entry_sp;
static uint8_t return_bytes[3];
static uint16_t *parts, last_part;
static uint64_t parts_begin, parts_size, (*shares)[2]; /* cycles and instructions by part */

static void silent(avr_t *avr, const int level, const char *format, va_list arguments) {
    (void)avr, (void)level, (void)format, (void)arguments;
}

static uint16_t stack_pointer(const avr_t *avr) { return avr->data[R_SPL] | avr->data[R_SPH] << 8; }

/* Executes one instruction; 0 where the program cannot go on. */
static int step(avr_t *avr) {
    avr->run_cycle_count = 1; /* else simavr runs on to its next timer */
    avr->pc = avr_run_one(avr);
    return avr->state == cpu_Running && avr->pc < avr->codeend;
}

static void failed(const avr_t *avr, const char *reason) { printf("error %s %" PRIu32 "\n", reason, (uint32_t)avr->pc); }

static void boot(avr_t *avr, uint32_t at, uint64_t limit) {
    for (uint64_t n = 0; avr->pc != at; n++) {
        if (n >= limit) {
            failed(avr, "limit");
            return;
        }
        if (!step(avr)) {
            failed(avr, "crash");
            return;
        }
    }
    entry = at;
    entry_sp = stack_pointer(avr);
    uint32_t words = 0;
    for (int i = 0; i < avr->address_size; i++) { /* pushed low byte first, so it lies highest */
        return_bytes[i] = avr->data[entry_sp + 1 + i];
        words = words << 8 | return_bytes[i];
    }
    return_address = words * 2;
    printf("ok\n");
}

/* Reads the table of parts; 0 where that fails. */
static int read_parts(uint64_t begin, uint64_t size) {
    free(parts);
    free(shares);
    parts = calloc(1, size + 1);
    if (!parts || fread(parts, 1, size, stdin) != size) {
        return 0;
    }
    parts_begin = begin;
    parts_size = size;
    last_part = 0;
    for (uint64_t i = 0; i < size / 2; i++) {
        last_part = parts[i] > last_part ? parts[i] : last_part;
    }
    shares = calloc(last_part + 1u, sizeof *shares);
    return shares != NULL;
}

static void call(avr_t *avr, uint64_t limit) {
    uint16_t after = entry_sp + avr->address_size, lowest = entry_sp;
    avr->pc = entry;
    avr->data[R_SPL] = entry_sp & 255;
    avr->data[R_SPH] = entry_sp >> 8;
    memcpy(avr->data + entry_sp + 1, return_bytes, avr->address_size);
    avr_cycle_count_t begin = avr->cycle;
    uint64_t n = 0;
    uint16_t part = 0;
    memset(shares, 0, (last_part + 1u) * sizeof *shares);
    do {
        if (n++ >= limit) {
            failed(avr, "limit");
            return;
        }
        if (avr->pc - parts_begin < parts_size) {
            part = parts[(avr->pc - parts_begin) / 2];
        }
        avr_cycle_count_t before = avr->cycle;
        if (!step(avr)) {
            failed(avr, "crash");
            return;
        }
        shares[part][0] += avr->cycle - before;
        shares[part][1]++;
        uint16_t sp = stack_pointer(avr);
        lowest = sp < lowest ? sp : lowest;
    } while (avr->pc != return_address || stack_pointer(avr) != after);
    printf("ok %" PRIu64 " %" PRIu64 " %d %d", (uint64_t)(avr->cycle - begin), n, after - lowest,
           (int16_t)(avr->data[24] | avr->data[25] << 8));
    for (uint32_t i = 0; i <= last_part; i++) {
        printf(" %" PRIu64 " %" PRIu64, shares[i][0], shares[i][1]);
    }
    printf("\n");
}

static char text[MOST_TEXT];
static size_t text_size;

static void sent(struct avr_irq_t *irq, uint32_t value, void *parameter) {
    (void)irq, (void)parameter;
    if (text_size < sizeof text) {
        text[text_size++] = (char)value;
    }
}

static void no_sleep(avr_t *avr, avr_cycle_count_t cycles) { (void)avr, (void)cycles; }

/* Keep what the UARTs send, and wait for nobody at a terminal. */
static void listen(avr_t *avr) {
    for (char name = '0'; name < '4'; name++) {
        avr_irq_t *irq = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ(name), UART_IRQ_OUTPUT);
        uint32_t flags = 0;
        if (irq) {
            avr_irq_register_notify(irq, sent, NULL);
            avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS(name), &flags);
        }
    }
    avr->sleep = no_sleep;
}

/* One instruction with timers, interrupts and sleep. Why the program cannot go on, or NULL. */
static const char *step_whole(avr_t *avr) {
    avr_flashaddr_t before = avr->pc;
    avr->run_cycle_count = 1;
    avr_run(avr);
    if (avr->state == cpu_Done) {
        return "sleep";
    }
    if (avr->state == cpu_Crashed || avr->pc >= avr->codeend) {
        return "crash";
    }
    return avr->state == cpu_Running && avr->pc == before && !avr->sreg[S_I] ? "endless" : NULL;
}

static void whole(avr_t *avr, uint64_t begin, uint64_t until, int call_only, uint64_t mark, uint64_t limit) {
    size_t places = avr->codeend / 2 + 1, used = 0;
    uint64_t (*counts)[2] = calloc(places, sizeof *counts), n = 0;
    const char *end = counts ? NULL : "memory";
    uint16_t top = 0, lowest = 0xFFFF, after = 0;
    uint64_t back = NOWHERE;
    for (; !end && begin != NOWHERE && avr->pc != begin; n++) {
        end = n >= limit ? "before" : step_whole(avr);
    }
    mark = begin == NOWHERE ? mark : begin;
    if (!end && call_only) {
        back = 0;
        for (int i = 0; i < avr->address_size; i++) {
            back = back << 8 | avr->data[stack_pointer(avr) + 1 + i];
        }
        back *= 2;
        after = stack_pointer(avr) + avr->address_size;
    }
    avr_cycle_count_t from = avr->cycle;
    text_size = begin == NOWHERE ? text_size : 0;
    for (n = 0; !end; n++) {
        avr_flashaddr_t pc = avr->pc;
        if (pc == mark || mark == NOWHERE) {
            mark = NOWHERE - 1;
            lowest = top = stack_pointer(avr);
        }
        if (n && (pc == until || (pc == back && stack_pointer(avr) == after))) {
            end = "reached";
            break;
        }
        avr_cycle_count_t before = avr->cycle;
        end = n >= limit ? "limit" : step_whole(avr);
        counts[pc / 2][0]++;
        counts[pc / 2][1] += avr->cycle - before;
        lowest = stack_pointer(avr) < lowest ? stack_pointer(avr) : lowest;
    }
    for (size_t i = 0; counts && i < places; i++) {
        used += counts[i][0] != 0;
    }
    printf("ok %s %" PRIu32 " %" PRIu64 " %" PRIu64 " %d %zu %zu\n", end, (uint32_t)avr->pc,
           (uint64_t)(avr->cycle - from), n, top - lowest, text_size, used);
    fwrite(text, 1, text_size, stdout);
    for (size_t i = 0; counts && i < places; i++) {
        uint64_t record[3] = {2 * i, counts[i][0], counts[i][1]};
        if (counts[i][0]) {
            fwrite(record, sizeof record, 1, stdout);
        }
    }
    free(counts);
}

int main(int count, char **arguments) {
    avr_global_logger_set(silent);
    avr_t *avr = NULL;
    for (int i = 1; i < count && !avr; i++) {
        avr = avr_make_mcu_by_name(arguments[i]);
    }
    if (!avr) {
        printf("error device 0\n");
        return 1;
    }
    /* The memories are as large as the instruction set allows: whether a program fits the device is judged elsewhere. */
    size_t flash_size = avr->address_size == 3 ? FLASH_SIZE_3_BYTE_PC : FLASH_SIZE_2_BYTE_PC;
    avr->flashend = flash_size - 1;
    avr->ramend = DATA_END;
    avr_init(avr);
    printf("ok\n");
    fflush(stdout);
    char line[120];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t a = 0, b = 0, c = 0, d = 0, e = 0;
        sscanf(line + 1, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c, &d, &e);
        if (line[0] == 'f' && a <= flash_size && fread(avr->flash, 1, a, stdin) == a) {
            avr->codeend = a;
            avr_reset(avr);
            avr->state = cpu_Running;
            printf("ok\n");
        } else if (line[0] == 'b') {
            boot(avr, a, b);
        } else if (line[0] == 'w' && b <= DATA_END && a + b <= DATA_END + 1u && fread(avr->data + a, 1, b, stdin) == b) {
            printf("ok\n");
        } else if (line[0] == 'r' && b <= DATA_END && a + b <= DATA_END + 1u) {
            printf("ok\n");
            fwrite(avr->data + a, 1, b, stdout);
        } else if (line[0] == 'p' && b < 1 << 17 && read_parts(a, b)) {
            printf("ok\n");
        } else if (line[0] == 'c' && shares) {
            call(avr, a);
        } else if (line[0] == 'g' && avr->codeend) {
            listen(avr);
            whole(avr, a, b, c != 0, d, e);
        } else {
            printf("error command 0\n");
            return 1;
        }
        fflush(stdout);
    }
    return 0;
}
