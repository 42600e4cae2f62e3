/* Work of the kind that CoreMark does: a linked list is searched, reversed and sorted, matrices are multiplied, a state
   machine reads text, and a CRC is computed bit by bit. tm_main does all of it `rounds` times. */
#include <stddef.h>
#include <stdint.h>

typedef struct item {
    struct item *next;
    int16_t key, value;
} item;

enum { ITEMS = 32, SIDE = 10 };
static item items[ITEMS];
static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
static int32_t c[SIDE][SIDE];
static const char TEXT[] = "12,-3.5,+7e2,x9,0.25e-3,42,..,8.,-1e+6,abc,77.125,+-1,3e5,1000,0.5";
int rounds = 1;

static __attribute__((noinline)) uint16_t crc16(uint16_t value, uint16_t crc) {
    for (int i = 0; i < 16; i++, value >>= 1) {
        uint16_t bit = (uint16_t)((value ^ crc) & 1);
        crc >>= 1;
        if (bit) {
            crc ^= 0xA001;
        }
    }
    return crc;
}

static __attribute__((noinline)) item *find(item *list, int16_t key) {
    while (list && list->key != key) {
        list = list->next;
    }
    return list;
}

static __attribute__((noinline)) item *reverse(item *list) {
    item *done = NULL;
    while (list) {
        item *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static __attribute__((noinline)) item *merge(item *one, item *other) {
    item head = {NULL, 0, 0}, *last = &head;
    while (one && other) {
        item **least = one->value <= other->value ? &one : &other;
        last->next = *least;
        last = *least;
        *least = last->next;
    }
    last->next = one ? one : other;
    return head.next;
}

static __attribute__((noinline)) item *sort(item *list) {
    item *half = list, *end = list ? list->next : NULL;
    if (!end) {
        return list;
    }
    while (end && end->next) {
        half = half->next;
        end = end->next->next;
    }
    item *rest = half->next;
    half->next = NULL;
    return merge(sort(list), sort(rest));
}

static __attribute__((noinline)) int32_t multiply(int16_t add) {
    int32_t sum = 0;
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            int32_t dot = 0;
            for (int k = 0; k < SIDE; k++) {
                dot += (a[i][k] + add) * b[k][j];
            }
            c[i][j] = dot;
            sum += dot > sum ? 10 : dot & 7;
        }
    }
    return sum;
}

static __attribute__((noinline)) uint32_t numbers(const char *text) {
    enum { START, SIGN, INTEGER, POINT, EXPONENT, POWER, BAD } state = START;
    uint32_t found = 0;
    for (;; text++) {
        int digit = *text >= '0' && *text <= '9';
        if (*text == ',' || *text == 0) {
            found = found * 3 + (uint32_t)state;
            state = START;
            if (*text == 0) {
                return found;
            }
            continue;
        }
        switch (state) {
        case START: state = digit ? INTEGER : *text == '-' || *text == '+' ? SIGN : *text == '.' ? POINT : BAD; break;
        case SIGN: state = digit ? INTEGER : *text == '.' ? POINT : BAD; break;
        case INTEGER: state = digit ? INTEGER : *text == '.' ? POINT : *text == 'e' ? EXPONENT : BAD; break;
        case POINT: state = digit ? POINT : *text == 'e' ? EXPONENT : BAD; break;
        case EXPONENT: state = digit || *text == '-' || *text == '+' ? POWER : BAD; break;
        case POWER: state = digit ? POWER : BAD; break;
        default: break;
        }
    }
}

int tm_main(void) {
    uint16_t crc = 0;
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (item){i + 1 < ITEMS ? &items[i + 1] : NULL, (int16_t)i, (int16_t)(i * 73 % 61)};
    }
    for (int i = 0; i < SIDE * SIDE; i++) {
        a[0][i] = (int16_t)(i * 7 % 31);
        b[0][i] = (int16_t)(i * 11 % 127);
    }
    item *list = items;
    for (int round = 0; round < rounds; round++) {
        for (int16_t key = 0; key < ITEMS; key++) {
            item *hit = find(list, key);
            crc = crc16((uint16_t)(hit ? hit->value : key), crc);
            list = reverse(list);
        }
        list = sort(list);
        crc = crc16((uint16_t)multiply((int16_t)round), crc);
        crc = crc16((uint16_t)numbers(TEXT), crc);
    }
    return crc;
}
