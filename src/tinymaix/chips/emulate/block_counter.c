/* Counts basic blocks for unicorn.

   A hook in Python costs a microsecond a block; this one costs a few nanoseconds. It is compiled for the computer that
   emulates, loaded with ctypes and given to unicorn as a UC_HOOK_BLOCK. Counts are kept by (block before, block), so
   that a model of cycles can tell taken branches from those that fall through, and by the parts of the program that
   both are executed for: a block of one function belongs to the part of its last instruction, which may be a call, and
   what is called belongs to the part that called it. Instructions are counted from the lengths that the encodings
   themselves tell: Thumb (Armv7-M Architecture Reference Manual, A5.1), RISC-V (unprivileged specification, 1.5).

   Reads of the flash are followed through caches, of code by blocks and of constants one by one: any number of kinds of
   caches at once, so that one run tells of all chips with the same core. A read that fills a place that was empty does
   not count as missed: so the figures are those of a program that has run before.

   Where reads are hooked, unicorn (2.1) notes the state of Thumb's IT block before a load in it, and takes the first
   instructions of the next block as part of that one. So the state is taken back at once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t from, address, count;
    uint32_t size, instructions; /* instructions == 0 marks a free slot */
    uint32_t from_part, part;
    uint64_t lowest; /* the stack pointer at its lowest, where it is watched */
    size_t number;   /* in the order of their first execution */
    int has_it, left; /* whether an IT block is in it, and how many instructions of that come after it */
} edge;

enum { GUESSES = 256 };

typedef struct { /* of the line in each place, and when it was last read: 0 never */
    uint32_t *lines;
    uint64_t *read;
    uint64_t clock;
    uint32_t sets, ways;
    uint32_t guesses[GUESSES]; /* the place where a line was last */
} cache;

typedef struct { /* ways through which a chip reads its flash */
    uint32_t line;    /* bytes */
    cache code, data; /* without places: every read of data waits, of code none */
    int shared;       /* data through the cache of code */
} flash_path;

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
    int (*get)(void *, int, void *); /* of registers; NULL where no IT blocks are to be left */
    int (*set)(void *, int, const void *);
    int cpsr, has_it, left; /* of the edge that is executed */
    flash_path *paths;
    size_t n_paths;
    const uint64_t *flash; /* begin and end of each stretch */
    size_t stretches;
    uint64_t *missed; /* of each edge and path: of code, of data */
    size_t missed_room, current; /* edges that there is room for; the number of the one that is executed */
} counter;

static int cache_new(cache *k, uint32_t places, uint32_t ways) {
    k->ways = ways && ways < places ? ways : places;
    k->sets = places ? places / k->ways : 0;
    k->lines = calloc(places + 1, sizeof *k->lines);
    k->read = calloc(places + 1, sizeof *k->read);
    return k->lines && k->read;
}

/* Whether a line had to be read from the flash, in place of another one. */
static int cache_missed(cache *k, uint32_t line) {
    uint32_t *guess = k->guesses + line % GUESSES, first = line % k->sets * k->ways, oldest = first;
    uint64_t now = ++k->clock;
    if (k->lines[*guess] == line && k->read[*guess]) {
        k->read[*guess] = now;
        return 0;
    }
    for (uint32_t i = first; i < first + k->ways; i++) {
        if (k->lines[i] == line && k->read[i]) {
            k->read[i] = now;
            *guess = i;
            return 0;
        }
        oldest = k->read[i] < k->read[oldest] ? i : oldest;
    }
    int was_used = k->read[oldest] != 0;
    k->lines[oldest] = line;
    k->read[oldest] = now;
    *guess = oldest;
    return was_used;
}

static void forget_flash(counter *c) {
    for (size_t i = 0; i < c->n_paths; i++) {
        cache *both[] = {&c->paths[i].code, &c->paths[i].data};
        for (int k = 0; k < 2; k++) {
            free(both[k]->lines);
            free(both[k]->read);
        }
    }
    free(c->paths);
    free(c->missed);
    c->paths = NULL;
    c->missed = NULL;
    c->n_paths = c->missed_room = 0;
}

/* Follow reads of the flash, whose begins and ends are `flash`, which must live as long, through `n` paths. `paths` has
   five numbers of each: bytes of a line, ways, bytes of the caches of code and of data, whether they are one. The caches
   are empty. Returns whether there was memory. */
int counter_flash(counter *c, size_t stretches, const uint64_t *flash, size_t n, const uint32_t *paths) {
    forget_flash(c);
    c->flash = flash;
    c->stretches = stretches;
    c->paths = calloc(n + 1, sizeof *c->paths);
    for (; c->paths && c->n_paths < n; paths += 5) {
        flash_path *path = c->paths + c->n_paths++;
        path->line = paths[0];
        path->shared = (int)paths[4];
        if (!cache_new(&path->code, paths[2] / paths[0], paths[1]) ||
            !cache_new(&path->data, paths[3] / paths[0], paths[1])) {
            return 0;
        }
    }
    return c->paths != NULL;
}

void counter_free(counter *c) {
    if (c) {
        forget_flash(c);
        free(c->edges);
        free(c);
    }
}

static int in_flash(const counter *c, uint64_t address) {
    for (size_t i = 0; i < c->stretches; i++) {
        if (address >= c->flash[2 * i] && address < c->flash[2 * i + 1]) {
            return 1;
        }
    }
    return 0;
}

static void run_from_flash(counter *c, uint64_t address, uint32_t size) {
    for (size_t i = 0; i < c->n_paths; i++) {
        flash_path *path = c->paths + i;
        uint32_t line = (uint32_t)(address / path->line), last = (uint32_t)((address + size - 1) / path->line);
        for (; path->code.sets && line <= last; line++) {
            c->missed[2 * (c->current * c->n_paths + i)] += (uint64_t)cache_missed(&path->code, line);
        }
    }
}

static void leave_it(counter *c, void *uc) {
    const uint32_t state = UINT32_C(0x0600FC00); /* ITSTATE in CPSR */
    uint32_t cpsr = 0;
    c->get(uc, c->cpsr, &cpsr);
    if (cpsr & state) {
        cpsr &= ~state;
        c->set(uc, c->cpsr, &cpsr);
    }
}

/* unicorn's uc_cb_hookmem_t, for reads */
void counter_read(void *uc, int type, uint64_t address, int size, int64_t value, void *user) {
    counter *c = user;
    (void)type, (void)size, (void)value;
    if (c->get && c->has_it) {
        leave_it(c, uc);
    }
    if (!c->missed || !in_flash(c, address)) {
        return;
    }
    for (size_t i = 0; i < c->n_paths; i++) {
        flash_path *path = c->paths + i;
        cache *k = path->shared ? &path->code : &path->data;
        int waits = !k->sets || cache_missed(k, (uint32_t)(address / path->line));
        c->missed[2 * (c->current * c->n_paths + i) + 1] += (uint64_t)waits;
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
    if (c->missed) {
        memset(c->missed, 0, c->missed_room * 2 * c->n_paths * sizeof *c->missed);
    }
    c->used = c->current = 0;
    c->previous = c->executed = c->top = 0;
    c->part = 0;
    c->has_it = c->left = 0;
    c->pass = c->error = 0;
    c->limit = limit;
}

/* Note the stack pointer, which unicorn calls so, at the start of each block. */
void counter_watch(counter *c, int stack, void *read_register) {
    c->stack = stack;
    memcpy(&c->read_register, &read_register, sizeof read_register);
}

/* Take back the state of IT blocks, in the register that unicorn calls so: reads are hooked. */
void counter_watch_it(counter *c, int cpsr, void *get, void *set) {
    c->cpsr = cpsr;
    memcpy(&c->get, &get, sizeof get);
    memcpy(&c->set, &set, sizeof set);
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

/* Room for what the edges missed. */
static int grow_missed(counter *c) {
    size_t each = 2 * c->n_paths * sizeof *c->missed, room = c->room;
    uint64_t *missed = realloc(c->missed, room * each);
    if (!missed) {
        return 0;
    }
    memset((char *)missed + c->missed_room * each, 0, (room - c->missed_room) * each);
    c->missed = missed;
    c->missed_room = room;
    return 1;
}

/* Notes what is in a block. Returns whether its code could be read. */
static int look_into(counter *c, void *uc, edge *e) {
    int left = c->left;
    e->has_it = left > 0; /* unicorn has cut it in two */
    for (uint32_t at = 0; at < e->size; e->instructions++) {
        uint8_t half[2];
        if (c->read(uc, e->address + at, half, 2)) {
            return 0;
        }
        int wide = c->thumb ? half[1] >= 0xE8 : (half[0] & 3) == 3, mask = half[0] & 15;
        at += wide ? 4 : 2;
        left -= left > 0;
        if (c->thumb && half[1] == 0xBF && mask) { /* IT (Armv7-M Architecture Reference Manual, A7.3.2) */
            left = mask & 1 ? 4 : mask & 2 ? 3 : mask & 4 ? 2 : 1;
            e->has_it = 1;
        }
    }
    e->left = left;
    return e->instructions != 0;
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
        wanted.number = c->used;
        if (!look_into(c, uc, &wanted) || (2 * ++c->used > c->room && !grow(c)) ||
            (c->n_paths && c->used > c->missed_room && !grow_missed(c))) {
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
    c->current = e->number;
    c->has_it = e->has_it;
    c->left = e->left;
    if (c->n_paths && in_flash(c, address)) {
        run_from_flash(c, address, size);
    }
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

/* Writes what each edge missed of code and of data on each path to `out`, in the order of counter_edges. */
void counter_missed(const counter *c, uint64_t *out) {
    for (size_t i = 0; i < c->room; i++) {
        const edge *e = c->edges + i;
        if (e->instructions) {
            memcpy(out, c->missed + 2 * c->n_paths * e->number, 2 * c->n_paths * sizeof *out);
            out += 2 * c->n_paths;
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
