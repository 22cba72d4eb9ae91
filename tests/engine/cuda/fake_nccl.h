/* What fake_nccl.c lets a test see and do. */
#ifndef TESTS_ENGINE_CUDA_FAKE_NCCL_H
#define TESTS_ENGINE_CUDA_FAKE_NCCL_H

struct CUstream_st;

struct fake_nccl {
    int communicators, destroyed, aborted;
    int operations; /* scaled sums that are open */
    int device[8];  /* of each rank of the last communicator */
    int sums, copies;
    int fail; /* the so manieth call from now on, from 1, fails; 0: none */
    int graphs;
};

struct fake_nccl_functions {
    struct fake_nccl *(*state)(void);
    /* Until what was given to the stream is done, or aborted. */
    void (*wait)(struct CUstream_st *stream);
    /* So many captured graphs live: as with NCCL, aborting does not return before they are gone. */
    void (*keep_graphs)(int n);
};

#endif
