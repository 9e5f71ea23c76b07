#include "actors/message.h"

const char *tm_message_name(unsigned type)
{
    switch (type) {
#define X(number, name, text)                                                                      \
    case number:                                                                                   \
        return #name;
        TM_MESSAGE_LIST(X)
#undef X
    default:
        return "UNKNOWN";
    }
}
