/* Two tasks that take turns as those of a real-time system do: started by a call of the supervisor, switched by PendSV on
   stacks of their own, with the FPU, critical sections, SysTick, and an interrupt that interrupts SysTick's handler.
   Exits with 0, or with the number of what was wrong. */
typedef unsigned int u32;
#define REGISTER(address) (*(volatile u32 *)(address))
#define ICSR REGISTER(0xE000ED04)
#define BARRIER __asm__ volatile("dsb\n isb" ::: "memory")
#if __ARM_FP
typedef float number;
#define SAVE "tst lr, #16\n it eq\n vstmdbeq r0!, {s16-s31}\n"
#define RESTORE "tst lr, #16\n it eq\n vldmiaeq r0!, {s16-s31}\n"
#else
typedef u32 number;
#define SAVE
#define RESTORE
#endif

extern void reset(void), call(void), switch_tasks(void), tick(void), urgent(void);
extern u32 stack_top[];
__attribute__((section(".vectors"), used)) static const void *const vectors[20] = {
    (void *)0x20002000, reset, [11] = call, [14] = switch_tasks, tick, [19] = urgent,
};
static u32 stacks[2][256], *tops[2];
static volatile u32 current, ticks, interrupted, switches, finished[2];

static void leave(u32 status) {
    u32 block[2] = {0x20026, status};
    register u32 r0 __asm__("r0") = 0x20;
    register u32 *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static void check(int right, u32 number) {
    if (!right) {
        leave(number);
    }
}

static void yield(void) {
    ICSR = 1u << 28;
    BARRIER;
}

static void task(u32 me) {
    number sum = 0;
    for (u32 i = 0; i < 200; i++) {
        u32 before = switches;
        sum += 2;
        yield();
        check(switches > before, 2); /* at the barrier, not later */
        __asm__ volatile("msr basepri, %0" ::"r"(0x40) : "memory");
        before = switches;
        yield();
        check(switches == before, 3); /* not in a critical section */
        __asm__ volatile("msr basepri, %0" ::"r"(0) : "memory");
        BARRIER;
        check(switches > before, 4); /* but as soon as it is left */
        check(sum == 2 * (number)(i + 1), 5);
    }
    finished[me] = 1;
    while (!finished[!me] || ticks < 3) {
        yield();
    }
    check(interrupted == ticks, 6);
    leave(0);
}

__attribute__((used)) static u32 *next(u32 *stack) {
    tops[current] = stack;
    switches++;
    current = !current;
    return tops[current];
}

__attribute__((naked)) void switch_tasks(void) {
    __asm__("mrs r0, psp\n" SAVE "stmdb r0!, {r4-r11, lr}\n bl next\n ldmia r0!, {r4-r11, lr}\n" RESTORE
            "msr psp, r0\n bx lr");
}

__attribute__((naked)) void call(void) {
    __asm__("ldr r0, =tops\n ldr r0, [r0]\n ldmia r0!, {r4-r11, lr}\n msr psp, r0\n bx lr\n .ltorg");
}

void tick(void) {
    u32 before = interrupted;
    check((ICSR & 0x1FF) == 15, 7);
    ticks++;
    REGISTER(0xE000E200) = 1 << 3; /* the urgent interrupt */
    BARRIER;
    check(interrupted == before + 1, 8);
    ICSR = 1u << 28;
}

void urgent(void) {
    check((ICSR & 0x1FF) == 19 && REGISTER(0xE000E300) == 1 << 3, 9);
    interrupted++;
}

void reset(void) {
    for (u32 i = 0; i < 2; i++) {
        u32 *top = stacks[i] + 256 - 17; /* r4 to r11, lr; r0 to r3, r12, lr, pc, xpsr */
        top[8] = 0xFFFFFFFD;
        top[9] = i;
        top[15] = (u32)task;
        top[16] = 1u << 24;
        tops[i] = top;
    }
    REGISTER(0xE000ED20) = 0xFFFF0000; /* SysTick and PendSV come last */
    REGISTER(0xE000E400) = 0xFF000000; /* interrupt 3 before them, once it is 0x20: */
    check(REGISTER(0xE000E400) == 0xF0000000 && *(volatile unsigned char *)0xE000E403 == 0xF0, 10);
    *(volatile unsigned char *)0xE000E403 = 0x20;
    REGISTER(0xE000E100) = 1 << 3;
    REGISTER(0xE000E014) = 1499;
    REGISTER(0xE000E018) = 0;
    REGISTER(0xE000E010) = 7;
    __asm__ volatile("svc 0");
    leave(11);
}
