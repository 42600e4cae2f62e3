/* Counts basic blocks for unicorn.

   A hook in Python costs a microsecond a block; this one costs a few nanoseconds. It is compiled for the computer that
   emulates, loaded with ctypes and given to unicorn as a UC_HOOK_BLOCK. Counts are kept by (block before, block), so
   that a model of cycles can tell taken branches from those that fall through, and by the parts of the program that
   both are executed for: a block of one function belongs to the part of its last instruction, which may be a call, and
   what is called belongs to the part that called it. Instructions are counted from the lengths that the encodings themselves tell: Thumb (Armv7-M Architecture Reference Manual, A5.1), RISC-V
   (unprivileged specification, 1.5). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t from, address, count;
    uint32_t size, instructions; /* instructions == 0 marks a free slot */
    uint32_t from_part, part;
    uint64_t lowest; /* the stack pointer at its lowest, where it is watched */
} edge;

typedef struct {
    edge *edges; /* open addressing; `room` is a power of two */
    size_t used, room;
    uint64_t previous, executed, limit, top; /* top: the first stack pointer that was not 0 */
    const uint16_t *parts; /* of each two bytes of the function at `begin` */
    uint64_t begin, length;
    uint32_t part;
    int pass; /* whether the next block is executed past the limit */
    int thumb, error; /* 1: past the limit, 2: out of memory or unreadable code, 3: unaligned access, 4: endless loop */
    int (*read)(void *, uint64_t, void *, uint64_t);
    int (*stop)(void *);
    int (*read_register)(void *, int, void *); /* NULL: the stack is not watched */
    int stack;
} counter;

void counter_free(counter *c) {
    if (c) {
        free(c->edges);
        free(c);
    }
}

counter *counter_new(int thumb, void *read, void *stop) {
    counter *c = calloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    c->thumb = thumb;
    c->room = 4096;
    c->edges = calloc(c->room, sizeof *c->edges);
    memcpy(&c->read, &read, sizeof read);
    memcpy(&c->stop, &stop, sizeof stop);
    if (!c->edges) {
        counter_free(c);
        return NULL;
    }
    return c;
}

void counter_start(counter *c, uint64_t limit) {
    memset(c->edges, 0, c->room * sizeof *c->edges);
    c->used = 0;
    c->previous = c->executed = c->top = 0;
    c->part = 0;
    c->pass = c->error = 0;
    c->limit = limit;
}

/* Note the stack pointer, which unicorn calls so, at the start of each block. */
void counter_watch(counter *c, int stack, void *read_register) {
    c->stack = stack;
    memcpy(&c->read_register, &read_register, sizeof read_register);
}

/* The function whose blocks tell the parts: `parts` must live as long as it is counted. */
void counter_parts(counter *c, uint64_t begin, uint64_t length, const uint16_t *parts) {
    c->begin = begin;
    c->length = length;
    c->parts = parts;
}

static edge *find(edge *edges, size_t room, const edge *wanted) {
    uint64_t hash = wanted->from * 0x9E3779B97F4A7C15u ^ wanted->address ^ (uint64_t)wanted->size << 40;
    hash = (hash ^ (uint64_t)wanted->part << 52) * 0xD6E8FEB86659FD93u;
    size_t slot = (size_t)(hash >> 32) & (room - 1);
    for (;; slot = (slot + 1) & (room - 1)) {
        edge *e = edges + slot;
        if (!e->instructions || (e->from == wanted->from && e->address == wanted->address && e->size == wanted->size &&
                                 e->from_part == wanted->from_part && e->part == wanted->part)) {
            return e;
        }
    }
}

static int grow(counter *c) {
    size_t room = 2 * c->room;
    edge *edges = calloc(room, sizeof *edges);
    if (!edges) {
        return 0;
    }
    for (size_t i = 0; i < c->room; i++) {
        edge *e = c->edges + i;
        if (e->instructions) {
            *find(edges, room, e) = *e;
        }
    }
    free(c->edges);
    c->edges = edges;
    c->room = room;
    return 1;
}

static uint32_t instructions_of(counter *c, void *uc, uint64_t address, uint32_t size) {
    uint32_t n = 0;
    for (uint32_t at = 0; at < size; n++) {
        uint8_t half[2];
        if (c->read(uc, address + at, half, 2)) {
            return 0;
        }
        int wide = c->thumb ? half[1] >= 0xE8 : (half[0] & 3) == 3;
        at += wide ? 4 : 2;
    }
    return n;
}

/* Such a loop only an interrupt would end. */
static int is_branch_to_itself(counter *c, void *uc, uint64_t address) {
    uint8_t code[4] = {0};
    if (c->read(uc, address, code, 2) || (code[0] | code[1] << 8) == (c->thumb ? 0xE7FE : 0xA001)) {
        return 1; /* b, c.j */
    }
    uint32_t word = (uint32_t)code[0] | (uint32_t)code[1] << 8;
    if (c->read(uc, address + 2, code, 2)) {
        return 0;
    }
    word |= (uint32_t)code[0] << 16 | (uint32_t)code[1] << 24;
    return word == (c->thumb ? 0xBFFEF7FF : 0x6F); /* b.w, j */
}

/* unicorn's uc_cb_hookcode_t */
void counter_hook(void *uc, uint64_t address, uint32_t size, void *user) {
    counter *c = user;
    if (!size) { /* an instruction that does not exist: unicorn faults next */
        return;
    }
    edge wanted = {.from = c->previous, .address = address, .size = size, .from_part = c->part};
    uint64_t last = address + size - 2 - c->begin;
    if (last < c->length) {
        c->part = c->parts[last / 2];
    }
    wanted.part = c->part;
    edge *e = find(c->edges, c->room, &wanted);
    if (!e->instructions) {
        wanted.instructions = instructions_of(c, uc, address, size);
        if (!wanted.instructions || (2 * ++c->used > c->room && !grow(c))) {
            c->error = 2;
            c->stop(uc);
            return;
        }
        e = find(c->edges, c->room, &wanted);
        *e = wanted;
        e->lowest = UINT64_MAX;
    }
    if (c->read_register) {
        uint64_t stack = 0;
        c->read_register(uc, c->stack, &stack);
        c->top = c->top ? c->top : stack;
        e->lowest = stack && stack < e->lowest ? stack : e->lowest;
    }
    if (e->instructions == 1 && wanted.from == address && !e->count && is_branch_to_itself(c, uc, address)) {
        c->error = 4;
        c->stop(uc);
        return;
    }
    if (!c->pass && c->executed + e->instructions > c->limit) { /* the block is not executed any more */
        c->error = 1;
        c->stop(uc);
        return;
    }
    c->pass = 0;
    e->count++;
    c->executed += e->instructions;
    c->previous = address;
}

/* unicorn's uc_cb_hookmem_t, for cores that fault on unaligned accesses, which unicorn itself lets pass */
void counter_align(void *uc, int type, uint64_t address, int size, int64_t value, void *user) {
    counter *c = user;
    (void)type, (void)value;
    if (address & (uint64_t)(size - 1) & 3) {
        c->error = 3;
        c->stop(uc);
    }
}

/* Go on, to another limit, but `pass` for at least one block. */
void counter_limit(counter *c, uint64_t limit, int pass) {
    c->limit = limit;
    c->pass = pass;
    c->error = 0;
}

int counter_error(const counter *c) { return c->error; }

uint64_t counter_executed(const counter *c) { return c->executed; }

uint64_t counter_top(const counter *c) { return c->top; }

/* Writes address, size and lowest stack pointer of each edge to `out`, in the order of counter_edges. */
void counter_stacks(const counter *c, uint64_t *out) {
    for (size_t i = 0; i < c->room; i++) {
        const edge *e = c->edges + i;
        if (e->instructions) {
            *out++ = e->address;
            *out++ = e->size;
            *out++ = e->lowest;
        }
    }
}

/* Writes from, address, size, count, instructions, part before and part of each edge to `out`, which has room for 7
   numbers an edge, or only returns how many edges there are where `out` is NULL. */
size_t counter_edges(const counter *c, uint64_t *out) {
    for (size_t i = 0; out && i < c->room; i++) {
        const edge *e = c->edges + i;
        if (e->instructions) {
            *out++ = e->from;
            *out++ = e->address;
            *out++ = e->size;
            *out++ = e->count;
            *out++ = e->instructions;
            *out++ = e->from_part;
            *out++ = e->part;
        }
    }
    return c->used;
}
