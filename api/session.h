/* The login of a browser: the token is typed once into a form and becomes a cookie that scripts
 * cannot read. The cookie holds a time and an HMAC of it keyed by the token, so that the server
 * keeps nothing and another token ends all sessions. */
#ifndef API_SESSION_H
#define API_SESSION_H

#include "http.h"

/* Compares in a time that does not tell where they differ. */
bool session_same(const char *given, const char *token);
/* Whether a Cookie header has a session that has not ended. */
bool session_check(const char *token, const char *cookies);
/* Whether a browser asks for a page. */
bool session_wants_login(const struct request *request);
void session_login_page(struct reply *reply, int status);

#endif
