/* Inside the CPU backend: what its files share.
 *
 * A graph is compiled into commands over slots. A slot is a value of the graph in one form, or a
 * command's scratch memory; commands run one after the other, each on the program's threads.
 *
 * Everything that decides a bit of the result (layouts, algorithms, threads, order) is fixed when
 * the program is compiled, from the graph, the processor and the number of threads; never by time.
 *
 * Denormal numbers are left as IEEE has them: flushing them to zero would have to be set in each
 * thread of each team, oneDNN's included, to give the same bits always.
 */
#ifndef ENGINE_BACKEND_CPU_CPU_H
#define ENGINE_BACKEND_CPU_CPU_H

#include <oneapi/dnnl/dnnl.h>

#include "backend/backend.h"
#include "backend/cpu/kernels/kernels.h"

struct team;

struct cpu_backend;

/* memory.c: 64-byte aligned; in huge pages where that helps; counted. */
struct memory {
    void *data;   /* NULL where it is only counted */
    size_t bytes; /* 0: not open */
};

/* Zeroed; taken from the system when first touched. */
int cpu_memory_open(struct cpu_backend *cpu, struct memory *memory, size_t bytes, struct err *err);
/* Makes it at least so large; what it held is lost if it grows. */
int cpu_memory_grow(struct cpu_backend *cpu, struct memory *memory, size_t bytes, struct err *err);
void cpu_memory_close(struct cpu_backend *cpu, struct memory *memory);

/* How a program stores activations (kernels/kernels.h says more). */
enum cpu_layout { CPU_LAYOUT_BEST, CPU_LAYOUT_BY_CHANNEL, CPU_LAYOUT_BY_IMAGE };

/* Scratch memory of `cpu_materialise`. */
struct noise_room {
    struct memory memory; /* both */
    double *squares;
    float *scale;
};

/* What a pass holds while it runs and no longer: programs share it. A pass uses the first lane, and
 * the one beside it the second. */
struct lane {
    struct memory arena;
    struct memory weights; /* perturbed; not open until a pass needs them, as the next two */
    struct memory spare;   /* where gradients go that nobody wants */
    struct noise_room noise;
    const struct layout *layout; /* of weights, spare and noise */
};

struct cpu_backend {
    struct backend base;
    enum cpu_layout layout; /* of all programs */
    int threads;
    int step_threads; /* as many as the widest program opened so far */
    bool workers;     /* OpenMP's may be there, spinning: see cpu_dismiss_workers */
    const struct kernels *kernels;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct team *second; /* a thread for the second of two programs; NULL until needed */
    struct lane lane[2];
    struct memory squares; /* of a clipped gradient's rows; not open until one is */
};

struct vector {
    size_t n;
    struct cpu_backend *backend;
    float *data;
    struct memory memory;
};

/* backend.c: the backend with one layout for all programs, so that tests reach all paths with any
 * graph. */
extern const struct backend_class cpu_by_channel, cpu_by_image;

/* isa.c: the kernels for this processor, as oneDNN sees it (ONEDNN_MAX_CPU_ISA counts). */
const struct kernels *cpu_kernels(void);
/* All that it can run, from the plainest on; returns how many. */
int cpu_kernel_sets(const struct kernels *const **out);

/* threads.c: runs a kernel on `threads` threads, in parts of about equal size. */
void cpu_run_kernel(int threads, kernel *run, const void *arguments, size_t work);
/* An OpenMP worker that has nothing to do spins for milliseconds before it sleeps. Before two
 * programs of one thread each run side by side, those that other work has left are sent away; and
 * when the backend is closed. */
void cpu_dismiss_workers(struct cpu_backend *cpu);

/* team.c: runs `work(context)` on a second thread, started at the first call. */
int cpu_team_open(struct team **out, struct err *err);
void cpu_team_close(struct team *team);
void cpu_team_start(struct team *team, void (*work)(void *context), void *context);
void cpu_team_wait(struct team *team);

/* dnnl.c: an error of oneDNN's as one of ours. */
int cpu_dnnl_error(struct err *err, dnnl_status_t status, const char *what);

/* product.c: [rows][columns] = a·b + keep·result over `inner`, by oneDNN, on the calling thread's
 * team; `turned`: that operand is stored the other way round. */
struct product {
    size_t rows, columns, inner;
    const float *a, *b;
    bool a_turned, b_turned;
    float *result;
    float keep;
};

int cpu_multiply(const struct product *product, struct err *err);

int cpu_noise_room_open(struct cpu_backend *cpu, struct noise_room *room,
                        const struct layout *layout, struct err *err);
void cpu_noise_room_close(struct cpu_backend *cpu, struct noise_room *room);

/* weights.c: writes w ⊕ perturbation to `to`, of layout->size, whose gaps are zero already. The
 * result does not depend on `threads`. */
struct materialise {
    const struct kernels *kernels;
    int threads;
    const struct layout *layout;
    const float *weights;
    const struct perturbation *perturbation;
    const struct noise_room *room;
    float *to;
};

void cpu_materialise(const struct materialise *m);
int cpu_step(struct backend *backend, const struct step *step, struct err *err);
int cpu_materialise_vector(struct backend *backend, const struct layout *layout,
                           const struct vector *weights, const struct perturbation *perturbation,
                           struct vector *to, struct err *err);

/* pass.c: the lane's rooms are another layout's from here on, if they are not already. */
void cpu_lane_use(struct cpu_backend *cpu, struct lane *lane, const struct layout *layout);

/* program.c, pass.c: members of `backend_cpu`. */
int cpu_program_open(struct backend *backend, const struct graph *graph,
                     const struct layout *params, const struct layout *states,
                     const struct program_options *options, struct program **out, struct err *err);
void cpu_program_close(struct program *program);
int cpu_execute(struct backend *backend, const struct pass *passes, int n, struct err *err);
/* Takes what a pass needs of its lane; then says each slot where it lies. */
int cpu_take_rooms(const struct pass *pass, struct lane *lane, struct err *err);
void cpu_bind_slots(const struct pass *pass, const struct lane *lane);
/* timing.c */
int cpu_time_pass(struct backend *backend, const struct pass_sample *sample,
                  struct pass_seconds *out, struct err *err);

#endif
