/* A QEMU plugin that counts instructions in a file of 8 bytes, which whoever emulates maps too.

   QEMU's packages do not bring its header, so the few functions of plugin API version 1 are declared here. Each
   instruction adds 1 before it executes; QEMU generates that addition in line. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;
typedef void (*tb_callback)(plugin_id id, struct tb *tb);

size_t qemu_plugin_tb_n_insns(const struct tb *tb);
struct insn *qemu_plugin_tb_get_insn(const struct tb *tb, size_t index);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_callback callback);
void qemu_plugin_register_vcpu_insn_exec_inline(struct insn *insn, int operation, void *word, uint64_t value);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t *counter;

static void translate(plugin_id id, struct tb *tb) {
    size_t number = qemu_plugin_tb_n_insns(tb);
    (void)id;
    for (size_t i = 0; i < number; i++) {
        qemu_plugin_register_vcpu_insn_exec_inline(qemu_plugin_tb_get_insn(tb, i), 0 /* add */, counter, 1);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    int file = argc == 1 && !strncmp(argv[0], "count=", 6) ? open(argv[0] + 6, O_RDWR) : -1;
    void *memory = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    (void)info;
    if (memory == MAP_FAILED) {
        return -1;
    }
    close(file);
    counter = memory;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
