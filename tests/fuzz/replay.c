/* Runs a fuzz target's corpus without a fuzzer: each file named, and each file of each folder
 * named, in order.  A crash shows the file that was under way, for its name is printed first. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* the target's */

#define INPUT_MAX (1 << 20)

static unsigned files;

static bool run_file(const char *path)
{
    static uint8_t input[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    size_t len = fread(input, 1, sizeof input, f);
    fclose(f);
    printf("%s (%zu bytes)\n", path, len);
    fflush(stdout);
    uint8_t *copy = fuzz_copy(tm_bytes_of(input, len));
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
    files++;
    return true;
}

static bool run_folder(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    bool good = count >= 0;
    for (int i = 0; i < count; i++) {
        char file[4096];
        int len = snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            good = len < (int)sizeof file && run_file(file) && good;
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        good = (folder ? run_folder(argv[i]) : run_file(argv[i])) && good;
    }
    if (files == 0)
        fprintf(stderr, "no input was found\n");
    return good && files > 0 ? 0 : 1;
}
