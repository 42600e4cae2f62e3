/* Runs an AVR under libsimavr for simavr.py: cycle-exact, one command a line on standard input.

     simavr_host DEVICE        then:
     f SIZE + bytes            program flash from address 0 and reset
     b ENTRY LIMIT             run from reset until the program counter is ENTRY, and keep that place
     w ADDRESS SIZE + bytes    store into the data space
     r ADDRESS SIZE            -> the bytes of the data space
     p BEGIN SIZE + bytes      the part, 16 bits, of each two bytes of the function at BEGIN
     c LIMIT                   call: run from the kept place to its return -> "ok CYCLES INSTRUCTIONS STACK RESULT"
                               and behind it "CYCLES INSTRUCTIONS" of part 0, part 1, ...: an instruction of that
                               function belongs to its part, and any other to the part of the last one before it

   Every answer begins with "ok" or is "error REASON PC" on a line of its own; bytes follow the line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/sim_avr.h>
#include <simavr/sim_core.h>

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

int main(int count, char **arguments) {
    avr_global_logger_set(silent);
    avr_t *avr = count == 2 ? avr_make_mcu_by_name(arguments[1]) : NULL;
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
    char line[80];
    while (fgets(line, sizeof line, stdin)) {
        uint64_t a = 0, b = 0;
        sscanf(line + 1, "%" SCNu64 " %" SCNu64, &a, &b);
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
        } else {
            printf("error command 0\n");
            return 1;
        }
        fflush(stdout);
    }
    return 0;
}
