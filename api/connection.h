/* libmicrohttpd's callbacks for a request. */
#ifndef API_CONNECTION_H
#define API_CONNECTION_H

#include <microhttpd.h>

/* A connection begins and ends. */
void connection_notify(void *api, struct MHD_Connection *connection, void **context,
                       enum MHD_ConnectionNotificationCode code);
void *connection_target(void *api, const char *target, struct MHD_Connection *connection);
enum MHD_Result connection_handle(void *api, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context);
void connection_done(void *api, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode why);

#endif
