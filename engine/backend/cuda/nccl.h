/* Sums over several GPUs by NCCL, which is loaded when a run asks for it ($RWPD_NCCL or
 * libnccl.so.2): machines with one GPU need not have it. */
#ifndef ENGINE_BACKEND_CUDA_NCCL_H
#define ENGINE_BACKEND_CUDA_NCCL_H

#include "communicator/communicator.h"

/* NCCL's numbers; module.c holds them against its header. */
enum {
    NCCL_SUCCESS = 0,       /* ncclResult_t */
    NCCL_SUM = 0,           /* ncclRedOp_t */
    NCCL_FLOAT = 7,         /* ncclDataType_t */
    NCCL_HOST_IMMEDIATE = 1 /* ncclScalarResidence_t */
};

extern const struct communicator_class communicator_nccl;

/* Says before NCCL is loaded, and before there are threads, how it adds: along a ring, whatever it
 * would find fastest, so that the same GPUs give the same bits; and that it does not register what
 * is exchanged where that is captured: either all ranks of an exchange may, or none, and one rank
 * may replay an update while another gives the same to its device as it is. $NCCL_ALGO and
 * $NCCL_GRAPH_REGISTER go before that. */
void nccl_prepare(void);

/* Between the two nobody aborts this rank's part, so that a captured exchange may be replayed. It
 * fails, and there is nothing to end, once somebody has. */
int nccl_enter(struct communicator *communicator, int rank, struct err *err);
void nccl_leave(struct communicator *communicator, int rank);

#endif
