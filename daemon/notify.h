/* Word to the service manager: systemd's notification protocol (sd_notify(3)), which is a datagram
 * of lines to the socket in NOTIFY_SOCKET. Thirty lines of our own instead of libsystemd, which
 * would be a dependency of every build for this alone. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* For example "READY=1\nSTATUS=Listening". Nothing happens where nobody listens. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
