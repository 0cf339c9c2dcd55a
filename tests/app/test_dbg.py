from photosync.backends.dropbox import DropboxBackend
import time
def test_x(emulator):
    t=emulator.token()
    emulator.advance(5*3600)
    print(emulator.now()-time.time(), emulator.auth._access)
    st=DropboxBackend(access_token=t["access_token"],refresh_token=t["refresh_token"],app_key="k",skip_instance_cache=True).store("")
    print(st.list_folder("")); print(emulator.requests)
    assert 0
